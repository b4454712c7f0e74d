"""Pixels, principal components, functions of users, DINOv2."""

import numpy as np
import pytest

from metrics.features.dinov2 import DINOv2
from metrics.features.function import Function
from metrics.features.principal_components import PrincipalComponents
from metrics.frechet import frechet_distance, moments

IMAGES = np.random.default_rng(0).integers(0, 256, (80, 3, 4, 1), dtype=np.uint8)


def test_all_principal_components_turn_the_pixels_so_that_frechet_distances_stay():
    components = PrincipalComponents(12).fitted(IMAGES[:40])
    turned = np.asarray(components.apply(components.constants, IMAGES)["features"])
    pixels = IMAGES.reshape(80, -1) / 255
    distances = [frechet_distance(moments(x[:40]), moments(x[40:])) for x in (turned, pixels)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-5)


def test_principal_components_are_uncorrelated_and_decrease():
    components = PrincipalComponents(5).fitted(IMAGES)
    found = np.asarray(components.apply(components.constants, IMAGES)["features"], np.float64)
    covariance = np.cov(found.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-6)
    values = np.linalg.eigvalsh(np.cov(IMAGES.reshape(80, -1).T / 255))[::-1]
    np.testing.assert_allclose(np.diag(covariance), values[:5], rtol=1e-4)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("", "must be"),
        ("numpy", "must be"),
        ("no.such.module:f", "cannot be imported"),
        ("numpy:no_such", "cannot be imported"),
        ("math:pi", "is no function"),
    ],
)
def test_what_is_no_function_is_refused(function, reason):
    with pytest.raises(ValueError, match=reason):
        Function(function)


def test_a_function_must_give_a_row_for_each_image():
    with pytest.raises(ValueError, match="must give real features"):
        Function("numpy:mean").apply(None, IMAGES)


def test_dinov2_gives_the_library_s_class_token_on_random_weights():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    settings = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 28}
    network = transformers.Dinov2Model(transformers.Dinov2Config(**settings)).eval()
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    grey = np.full((2, 40, 40, 1), 128, np.uint8)
    grey[1] = 7
    found = DINOv2(settings=settings, arrays=arrays).apply(None, grey)["features"]
    # A picture of one colour is itself at any size.
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    x = (torch.tensor([128.0, 7.0])[:, None] / 255 - mean) / std
    with torch.no_grad():
        outputs = network(x[:, :, None, None].expand(2, 3, 224, 224))
    np.testing.assert_allclose(found, outputs.last_hidden_state[:, 0], atol=1e-5)

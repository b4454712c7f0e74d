"""The costs of a compiled program's instructions, on a text whose costs are counted by hand."""

import re

import pytest

from parallel.program_text import Collective, collectives, costs

# A norm's sum over 4x4 pixels, a convolution whose input a SiLU of that norm is fused to, its gradient with a
# dilated input, an optimizer's update that is named like a norm, and what costs nothing or runs beside.
TEXT = """\
HloModule jit_step, is_scheduled=true

%fused_computation.inner (param_0: bf16[2,4,4,8]) -> bf16[2,4,4,8] {
  %param_0 = bf16[2,4,4,8]{3,0,2,1:T(8,128)(2,1)} parameter(0)
  ROOT %logistic = bf16[2,4,4,8]{3,0,2,1} logistic(%param_0), metadata={op_name="jit(step)/jvp(Net)/norm1/silu"}
}

%fused_computation.convolution (param_1: bf16[2,4,4,8], param_2: f32[3,3,8,16]) -> bf16[2,4,4,16] {
  %param_1 = bf16[2,4,4,8]{3,0,2,1} parameter(0)
  %fusion.inner = bf16[2,4,4,8]{3,0,2,1} fusion(%param_1), kind=kLoop, calls=%fused_computation.inner
  %param_2 = f32[3,3,8,16]{3,2,1,0} parameter(1)
  %kernel = bf16[3,3,8,16]{3,2,1,0} convert(%param_2)
  ROOT %conv = bf16[2,4,4,16]{3,0,2,1:T(8,128)(2,1)S(1)} convolution(%fusion.inner, %kernel), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f, metadata={op_name="jit(step)/jvp(Net)/conv1/conv_general_dilated"}
}

%fused_computation.sum (param_3: bf16[2,4,4,8]) -> f32[2,8] {
  %param_3 = bf16[2,4,4,8]{3,0,2,1} parameter(0)
  %wide = f32[2,4,4,8]{3,0,2,1} convert(%param_3), metadata={op_name="jit(step)/jvp(Net)/GroupNorm_0/convert"}
  %zero = f32[] constant(0)
  ROOT %sum = f32[2,8]{1,0} reduce(%wide, %zero), dimensions={1,2}, to_apply=%region, metadata={op_name="jit(step)/jvp(Net)/GroupNorm_0/reduce_sum"}
}

ENTRY %main (x: bf16[2,4,4,8], w: f32[3,3,8,16]) -> (f32[3,3,8,16], bf16[2,8,8,8]) {
  %x = bf16[2,4,4,8]{3,0,2,1:T(8,128)(2,1)} parameter(0)
  %w = f32[3,3,8,16]{3,2,1,0:T(8,128)} parameter(1)
  %copy-start = (f32[3,3,8,16]{3,2,1,0:T(8,128)S(1)}, f32[3,3,8,16]{3,2,1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%w)
  %copy-done = f32[3,3,8,16]{3,2,1,0:T(8,128)S(1)} copy-done(%copy-start)
  %pieces = f32[3,3,8,16]{3,2,1,0} custom-call(%copy-done), custom_call_target="ConcatBitcast"
  %sums = f32[2,8]{1,0} fusion(%x), kind=kLoop, calls=%fused_computation.sum, backend_config={"window_config":{"estimated_cycles":"100"}}
  %y = bf16[2,4,4,16]{3,0,2,1} fusion(%x, %copy-done), kind=kOutput, calls=%fused_computation.convolution, backend_config={"window_config":{"estimated_cycles":"300"}}
  %back = bf16[2,8,8,8]{3,0,2,1} convolution(%y, %w), window={size=3x3 pad=1_2x1_2 lhs_dilate=2x2}, dim_labels=b01f_01oi->b01f, metadata={op_name="jit(step)/SelfAttention_0/dot_general"}
  %new = f32[3,3,8,16]{3,2,1,0} add(%copy-done, %copy-done), metadata={op_name="jit(step)/optimizer/clip_by_norm/add"}
  ROOT %out = (f32[3,3,8,16]{3,2,1,0}, bf16[2,8,8,8]{3,0,2,1}) tuple(%new, %back)
}
"""  # noqa: E501
X, W, Y, BACK = 2 * 2 * 4 * 4 * 8, 4 * 9 * 8 * 16, 2 * 2 * 4 * 4 * 16, 2 * 2 * 8 * 8 * 8


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # Two for each multiply-add, and one for each number of the SiLU that is fused to it.
        # The weights lie in the chip's own memory by then.
        ("convolutions", (1, 2 * 2 * 16 * 16 * 9 * 8 + 2 * 16 * 8, X + W + Y, X + Y, 300)),
        ("norms", (1, 2 * 16 * 8, X + 4 * 2 * 8, X + 4 * 2 * 8, 100)),
        # Of the dilated input three numbers in four are zeros.
        ("attention", (1, 2 * 2 * 64 * 8 * 9 * 16 // 4, Y + W + BACK, Y + W + BACK, 0)),
        ("optimizer", (1, 9 * 8 * 16, 3 * W, W, 0)),
        ("dropout", (0, 0, 0, 0, 0)),
        # The move of the weights costs the main memory's bytes alone.
        ("rest", (0, 0, 0, W, 0)),
    ],
)
def test_costs_are_those_counted_by_hand(kind, expected):
    assert tuple(costs(TEXT)[kind].values()) == expected


# A loop of 5 rounds with a product and two sums over pairs of devices, then gatherings.
LOOP = """\
%body (state: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %state = (s32[], f32[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%state), index=1
  %w = f32[8,8]{1,0} constant({...})
  %product = f32[4,8]{1,0} dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %sums = (f32[4,8]{1,0}, bf16[16]{0}) all-reduce(%product, %w), channel_id=1, replica_groups=[4,2]<=[8], to_apply=%add
  %sum = f32[4,8]{1,0} get-tuple-element(%sums), index=0
  ROOT %next = (s32[], f32[4,8]{1,0}) tuple(%i, %sum)
}

%exchange (part.1: f32[2,8]) -> f32[16,8] {
  %part.1 = f32[2,8]{1,0} parameter(0)
  ROOT %whole = f32[16,8]{1,0} all-gather(%part.1), replica_groups=[1,8]<=[8], frontend_attributes={chain_id="3"}
}

%condition (state.1: (s32[], f32[4,8])) -> pred[] {
  %state.1 = (s32[], f32[4,8]{1,0}) parameter(0)
  %count = s32[] get-tuple-element(%state.1), index=0
  %end = s32[]{:T(128)} constant(7)
  ROOT %goes = pred[] compare(%count, %end), direction=LT
}

ENTRY %main (start: (s32[], f32[4,8])) -> f32[16,8] {
  %start = (s32[], f32[4,8]{1,0}) parameter(0)
  %loop = (s32[], f32[4,8]{1,0}) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %last = f32[4,8]{1,0} get-tuple-element(%loop), index=1
  %begun = (f32[4,8]{1,0}, f32[32,8]{1,0}) all-gather-start(%last), dimensions={0}, replica_groups={{0,1,2,3,4,5,6,7}}
  %all = f32[32,8]{1,0} all-gather-done(%begun)
  %part = f32[2,8]{1,0} slice(%all), slice={[0:2],[0:8]}
  %async-collective-start.1 = f32[16,8]{1,0} fusion(%part), kind=kCustom, calls=%exchange
  %fusion.7 = f32[16,8]{1,0} fusion(%part), kind=kOutput, calls=%exchange
  %alone = f32[] all-reduce(%last), replica_groups={{0},{1}}, to_apply=%add
  ROOT %async-collective-done.1 = f32[16,8]{1,0} fusion(%part), kind=kCustom, calls=%exchange
}
"""  # noqa: E501


def test_a_loop_costs_what_its_rounds_do():
    assert costs(LOOP)["convolutions"]["flops"] == 5 * 2 * 4 * 8 * 8
    # A TPU's program does not say how often, but its condition does.
    unsaid = re.sub(r", backend_config=\S*", "", LOOP)
    assert costs(unsaid)["convolutions"]["flops"] == 7 * 2 * 4 * 8 * 8
    unknown = unsaid.replace("constant(7)", "add(%count, %count)")
    assert costs(unknown)["convolutions"]["flops"] == 2 * 4 * 8 * 8


def test_collectives_are_counted_with_their_groups_and_rounds():
    assert collectives(LOOP, 8) == [
        Collective("all-reduce", 4 * 32 + 2 * 16, group=2, times=5),
        Collective("all-gather", 4 * 256, group=8, times=1),
        # What goes on beside other work is one, and what stays on its device is none.
        Collective("all-gather", 4 * 128, group=8, times=1),
    ]

"""Objects that are written on condition: where none is, or in the place of the version that was read.

Of two who write at once the store refuses one, so that an object can be a lock (workdir/lock.py). Google
Cloud Storage numbers the generations of an object (`ifGenerationMatch`, 0 for none); S3 compares its digest
(`If-Match`, `If-None-Match: *`).
"""

import contextlib
import functools


class Google:
    """Generations of objects on Google Cloud Storage."""

    def __init__(self):
        from google.api_core import exceptions
        from google.cloud import storage

        self._client, self._exceptions = storage.Client(), exceptions

    def _blob(self, bucket, name):
        return self._client.bucket(bucket).blob(name)

    def read(self, bucket, name):
        """(content, version) of an object; (None, None) where there is none."""
        blob = self._blob(bucket, name)
        try:
            return blob.download_as_bytes(), blob.generation
        except self._exceptions.NotFound:
            return None, None

    def write(self, bucket, name, content, version):
        """The version of the object that is written; None where it is another than `version` by now."""
        blob = self._blob(bucket, name)
        try:
            blob.upload_from_string(content, if_generation_match=version or 0)
        except self._exceptions.PreconditionFailed:
            return None
        return blob.generation

    def remove(self, bucket, name, version):
        """Deletes the object where it still is this version."""
        with contextlib.suppress(self._exceptions.NotFound, self._exceptions.PreconditionFailed):
            self._blob(bucket, name).delete(if_generation_match=version)


class Amazon:
    """Digests of objects on S3."""

    # That another writes it at the same time is told in its own way; that it is gone, too.
    _OVERTAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404")

    def __init__(self):
        import botocore.exceptions
        import botocore.session

        self._client = botocore.session.get_session().create_client("s3")
        self._error = botocore.exceptions.ClientError

    def read(self, bucket, name):
        """(content, version) of an object; (None, None) where there is none."""
        try:
            found = self._client.get_object(Bucket=bucket, Key=name)
        except self._error as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None, None
        return found["Body"].read(), found["ETag"]

    def write(self, bucket, name, content, version):
        """The version of the object that is written; None where it is another than `version` by now."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            return self._client.put_object(Bucket=bucket, Key=name, Body=content, **condition)["ETag"]
        except self._error as error:
            if error.response["Error"]["Code"] not in self._OVERTAKEN:
                raise
            return None

    def remove(self, bucket, name, version):
        """Deletes the object where it still is this version; between the two, another may write it."""
        if self.read(bucket, name)[1] == version:
            self._client.delete_object(Bucket=bucket, Key=name)


_CLIENTS = {"gs": Google, "s3": Amazon}


@functools.cache
def of(scheme):
    """The client of the store that a scheme names."""
    return _CLIENTS[scheme]()

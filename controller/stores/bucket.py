"""A store in an S3 bucket, behind the same interface as one on a volume: steps map files, so a local copy is needed.

Objects are immutable, so a copy by key is never stale: reading fetches an object once, writing uploads it before it
becomes visible here. An object is created with `If-None-Match: *`, which S3 and most that speak its protocol honour,
so that of two writers of one key the second learns of the first. The identity stands in the bucket and is looked at
when a process first uses the store; the copies of another store are thrown away.

    s3://bucket/prefix?region=eu-central-1&endpoint=https://s3.internal.example

The address is an administrator's flag and is not held against the networks that sources may use. Keys come from the
process's own environment or identity (AWS_ACCESS_KEY_ID, web identity, instance role), as obstore finds them.
"""

import contextlib
import filecmp
import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store
from typing_extensions import override

from controller.faults import Disposition, Fault
from controller.stores.local import IDENTITY_FILE, IDENTITY_FORMAT, LocalStore, check_key, lost

if TYPE_CHECKING:
    from obstore.store import RetryConfig

CONDITIONAL_BYTES_MAX = 64 << 20
"""S3 takes a condition on one request; larger objects go in parts, and are looked for first."""
CACHE_NAME_LENGTH = 16
RETRIES_MAX = 3
RETRY_TIMEOUT = timedelta(seconds=30)
"""For what passes by itself; the caller tries again later in any case."""
OPTIONS = frozenset({"region", "endpoint"})
MISSING = (NotFoundError, FileNotFoundError)
TAKEN = (AlreadyExistsError, FileExistsError)
"""The library has errors of its own and raises the built-in ones."""


class BucketStore(LocalStore):
    """The directory of `LocalStore` is the copy; the bucket is the truth."""

    def __init__(self, bucket: S3Store, prefix: str, url: str, cache: Path) -> None:
        name = hashlib.sha256(url.encode()).hexdigest()[:CACHE_NAME_LENGTH]
        super().__init__(cache / name, durable=False)
        self.url = url
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._identified = False

    @classmethod
    def open(cls, url: str, cache: Path) -> "BucketStore":
        """Open a store by its address. Nothing is asked of the network yet."""
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query))
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or given.keys() - OPTIONS:
            raise Fault(
                "StoreUnavailable",
                Disposition.STALLED,
                "the store must be s3://bucket/prefix, with ?region= and &endpoint= where needed, and without keys",
            )
        if prefix:
            check_key(prefix)
        options: dict[str, Any] = {**given}
        if "endpoint" in given:
            options["client_options"] = {"allow_http": given["endpoint"].startswith("http://")}
        try:
            retries: RetryConfig = {"max_retries": RETRIES_MAX, "retry_timeout": RETRY_TIMEOUT}
            bucket = S3Store(parts.netloc, conditional_put="etag", retry_config=retries, **options)
        except (BaseError, ValueError) as error:
            raise _unavailable("being opened", error) from None
        return cls(bucket, prefix, url, cache)

    @override
    def identity(self) -> str | None:
        content = self._get(IDENTITY_FILE)
        if content is None:
            if any(True for _ in self._listed("")):
                raise lost("the store has objects but no identity.json: restore the bucket or empty the prefix")
            return None
        try:
            document = json.loads(content)
            identity = str(document["identity"])
            if document["format"] != IDENTITY_FORMAT:
                raise lost("identity.json of the store has an unknown format: it belongs to another release")
        except (ValueError, KeyError, TypeError):
            raise lost("identity.json of the store cannot be read: restore the bucket or empty the prefix") from None
        self._remember(content)
        return identity

    @override
    def claim_identity(self, identity: str) -> None:
        known = self.identity()
        if known is None:
            content = json.dumps({"format": IDENTITY_FORMAT, "identity": identity}).encode()
            with contextlib.suppress(*TAKEN), _asking("writing its identity"):
                obstore.put(self._bucket, self._prefix + IDENTITY_FILE, content, mode="create")
            known = self.identity()
        if known != identity:
            raise lost("the store carries the identity of another installation")

    @override
    def path(self, key: str) -> Path:
        """Where the copy is; it is fetched where there is none yet."""
        path = super().path(key)
        if not path.exists():
            self._fetch(key, path)
        return path

    @override
    @contextlib.contextmanager
    def creating(self, key: str) -> Iterator[Path]:
        target = super().path(key)
        with self._storing("writing an object"):
            self._make_directories(target.parent)
            temporary = self._temporary(target)
            try:
                yield temporary
                self._upload(key, temporary)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    @override
    def keys(self, prefix: str) -> tuple[str, ...]:
        self._must_be_a_store()
        return tuple(sorted(key for key in self._listed(prefix) if key.startswith(prefix)))

    @override
    def delete(self, keys: tuple[str, ...]) -> None:
        self._must_be_a_store()
        with _asking("deleting objects"):
            for key in keys:
                with contextlib.suppress(*MISSING):
                    obstore.delete(self._bucket, self._prefix + check_key(key))
        super().delete(keys)

    @override
    def _must_be_a_store(self) -> None:
        if not self._identified and self.identity() is None:
            raise lost("the store has no identity.json: is it the right bucket and prefix?")

    def _remember(self, content: bytes) -> None:
        """Keep the copies of this store, and throw away those of another that had its address before."""
        copy = self.root / IDENTITY_FILE
        with self._storing("using its cache"):
            if not self._identified and self.root.exists() and not (copy.exists() and copy.read_bytes() == content):
                shutil.rmtree(self.root)
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = self._temporary(copy)
            temporary.write_bytes(content)
            temporary.replace(copy)
        self._identified = True

    def _get(self, key: str) -> bytes | None:
        with _asking("reading an object"):
            try:
                return bytes(obstore.get(self._bucket, self._prefix + key).bytes())
            except MISSING:
                return None

    def _fetch(self, key: str, path: Path) -> None:
        """Copy an object here, whole or not at all. One that is not there leaves nothing."""
        with self._storing("using its cache"), _asking("reading an object"):
            try:
                found = obstore.get(self._bucket, self._prefix + key)
            except MISSING:
                return
            self._make_directories(path.parent)
            temporary = self._temporary(path)
            try:
                with temporary.open("wb") as file:
                    for piece in found.stream():
                        file.write(piece)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _upload(self, key: str, content: Path) -> None:
        name = self._prefix + key
        with _asking("writing an object"):
            try:
                if content.stat().st_size <= CONDITIONAL_BYTES_MAX:
                    obstore.put(self._bucket, name, content.read_bytes(), mode="create")
                    return
                try:
                    obstore.head(self._bucket, name)
                except MISSING:
                    obstore.put(self._bucket, name, content)
                    return
            except TAKEN:
                pass
        other = content.with_name(f"{content.name}-other")
        try:
            self._fetch(key, other)
            if not filecmp.cmp(content, other, shallow=False):
                raise Fault("StoreKeyTaken", Disposition.DEFECT, f"{key} exists with other content")
        finally:
            other.unlink(missing_ok=True)

    def _listed(self, prefix: str) -> Iterator[str]:
        """Keys below the directories of a prefix: the library lists whole names only."""
        directory = prefix.rpartition("/")[0]
        with _asking("listing objects"):
            for page in obstore.list(self._bucket, (self._prefix + directory).rstrip("/") or None):
                for each in page:
                    key = each["path"].removeprefix(self._prefix)
                    if key != IDENTITY_FILE:
                        yield key


@contextlib.contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Classify what the bucket answers. The library's words may hold addresses and are left out."""
    try:
        yield
    except (*MISSING, *TAKEN):
        raise
    except BaseError as error:
        raise _unavailable(doing, error) from None


def _unavailable(doing: str, error: Exception) -> Fault:
    kind = type(error).__name__.removesuffix("Error")
    return Fault("StoreUnavailable", Disposition.RETRY, f"the store answered {kind} while {doing}")

"""Upload sessions of a feed: sending a file, following it, and what Meta says about its rows.

Meta: product feed uploads, product feed upload and product feed upload errors. A session has no status field: it is
done when it has an end time. The listed errors are a sampling; the full report is a file that has to be asked for.
"""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

from controller.faults import Disposition, Fault
from controller.meta import limits, problems, reports, wire
from controller.meta.connection import Noun
from controller.meta.payload import FilePart
from controller.meta.protocol import Answer, Request, contract_violation, node
from controller.ports.meta import Body, ErrorReport, Problem, UploadAtMeta, UploadList

FIELDS = (
    "id,start_time,end_time,filename,error_count,warning_count,num_detected_items,num_persisted_items,"
    "num_invalid_items,num_deleted_items"
)
ERROR_FIELDS = "id,summary,description,severity,error_type,total_count"


def build_upload(catalog_id: str, feed_id: str, part: FilePart, *, update_only: bool) -> Request:
    return Request(
        operation="upload",
        title=f"upload a file to feed {feed_id} of catalog {catalog_id}",
        method="POST",
        path=node(feed_id, "uploads"),
        params=(("update_only", "true" if update_only else "false"),),
        payload=part,
        catalog_id=catalog_id,
    )


def build_list(catalog_id: str, feed_id: str) -> Request:
    return Request(
        operation="list_uploads",
        title=f"list the uploads of feed {feed_id} of catalog {catalog_id}",
        method="GET",
        path=node(feed_id, "uploads"),
        params=(("fields", FIELDS), ("limit", str(limits.PAGE_ROWS))),
        catalog_id=catalog_id,
    )


def build_read(catalog_id: str, upload_id: str) -> Request:
    return Request(
        operation="read_upload",
        title=f"read upload {upload_id} of catalog {catalog_id}",
        method="GET",
        path=node(upload_id),
        params=(("fields", FIELDS),),
        catalog_id=catalog_id,
    )


def build_errors(catalog_id: str, upload_id: str) -> Request:
    return Request(
        operation="list_upload_errors",
        title=f"list the errors of upload {upload_id} of catalog {catalog_id}",
        method="GET",
        path=node(upload_id, "errors"),
        params=(("fields", ERROR_FIELDS), ("limit", str(limits.PAGE_ROWS))),
        catalog_id=catalog_id,
    )


def build_samples(catalog_id: str, error_id: str) -> Request:
    return Request(
        operation="list_error_samples",
        title=f"list the samples of upload error {error_id} of catalog {catalog_id}",
        method="GET",
        path=node(error_id, "samples"),
        params=(("fields", "id,retailer_id,row_number"), ("limit", str(limits.PAGE_ROWS))),
        catalog_id=catalog_id,
    )


def build_request_report(catalog_id: str, upload_id: str) -> Request:
    return Request(
        operation="request_error_report",
        title=f"ask for the error report of upload {upload_id} of catalog {catalog_id}",
        method="POST",
        path=node(upload_id, "error_report"),
        catalog_id=catalog_id,
    )


def build_read_report(catalog_id: str, upload_id: str) -> Request:
    return Request(
        operation="read_error_report",
        title=f"read the error report of upload {upload_id} of catalog {catalog_id}",
        method="GET",
        path=node(upload_id),
        params=(("fields", "error_report"),),
        catalog_id=catalog_id,
    )


def build_download(catalog_id: str) -> Request:
    return Request(
        operation="download_error_report",
        title=f"download an error report of catalog {catalog_id}",
        method="GET",
        path="",
        catalog_id=catalog_id,
    )


def read_upload(found: wire.Upload) -> UploadAtMeta:
    return UploadAtMeta(
        id=found.id,
        start_time=found.start_time,
        end_time=found.end_time,
        file_name=found.filename,
        error_count=found.error_count,
        warning_count=found.warning_count,
        detected=found.num_detected_items,
        persisted=found.num_persisted_items,
        invalid=found.num_invalid_items,
        deleted=found.num_deleted_items,
    )


def is_newest_first(rows: Sequence[wire.Upload]) -> bool:
    """Whether a page shows the order that is usual but not promised, so that later pages hold only older sessions."""
    moments = [row.start_time for row in rows if row.start_time is not None]
    ordered = all(earlier >= later for earlier, later in pairwise(moments))
    return len(moments) == len(rows) > 1 and ordered and moments[0] > moments[-1]


class Uploads(Noun):
    """Send files and follow them."""

    __slots__ = ()

    async def upload(self, catalog_id: str, feed_id: str, file_name: str, body: Body, *, update_only: bool) -> str:
        request = build_upload(catalog_id, feed_id, FilePart(file_name, body), update_only=update_only)
        if body.size_bytes > limits.FEED_FILE_BYTES_MAX:
            raise Fault(
                reason="PayloadTooLarge",
                disposition=Disposition.STALLED,
                message=f"{request.title}: the file is larger than Meta's {limits.FEED_FILE_BYTES_MAX} bytes; "
                "spread the items over more shards",
            )
        answer = await self._perform(request)
        return wire.read_shape(answer, wire.Created).id

    async def list_uploads(self, catalog_id: str, feed_id: str) -> UploadList:
        """List the newest sessions: all of them, or the first page where that page is sorted newest first."""
        found: list[wire.Upload] = []
        first: Answer | None = None
        async for answer, page in self._pages(build_list(catalog_id, feed_id)):
            rows = wire.read_rows(answer, page.data, wire.Upload)
            found.extend(rows)
            if first is None:
                first = answer
                if is_newest_first(rows):
                    break
        server_time = first.server_time if first is not None else None
        return UploadList(tuple(read_upload(row) for row in found), server_time)

    async def read_upload(self, catalog_id: str, upload_id: str) -> UploadAtMeta:
        answer = await self._perform(build_read(catalog_id, upload_id))
        return read_upload(wire.read_shape(answer, wire.Upload))

    async def read_upload_problems(self, catalog_id: str, upload_id: str) -> tuple[Problem, ...]:
        found: list[Problem] = []
        for error in await self._rows(build_errors(catalog_id, upload_id), wire.UploadError):
            samples = await self._samples(catalog_id, error)
            found.extend(problems.upload_problems(error, samples))
        return tuple(found)

    async def _samples(self, catalog_id: str, error: wire.UploadError) -> tuple[wire.Sample, ...]:
        """Take the samples that came with the error, or read its edge where they are absent or go on."""
        inline = error.samples
        if inline is not None and (inline.paging is None or not inline.paging.next):
            return inline.data
        if error.id is None:
            return inline.data if inline is not None else ()
        return await self._rows(build_samples(catalog_id, error.id), wire.Sample)

    async def request_error_report(self, catalog_id: str, upload_id: str) -> None:
        wire.read_shape(await self._perform(build_request_report(catalog_id, upload_id)), wire.Succeeded)

    async def read_error_report(self, catalog_id: str, upload_id: str) -> ErrorReport:
        answer = await self._perform(build_read_report(catalog_id, upload_id))
        report = wire.read_shape(answer, wire.UploadReport).error_report or wire.Report()
        return ErrorReport(report.report_status, report.file_handle)

    async def download_error_report(self, catalog_id: str, report: ErrorReport) -> AsyncIterator[Problem]:
        request = build_download(catalog_id)
        if report.handle is None:
            raise contract_violation(Answer(request, None), f"report {report.status} without a file")
        pieces = self._connection.download(request, report.handle)
        async for problem in reports.read_problems(pieces, request):
            yield problem

"""One JSON object per line on standard error, without secrets."""

import logging
import sys
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter
from typing_extensions import override

from controller.operators.redaction import Redactor

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
QUIET_LOGGERS = ("kopf", "aiohttp.access", "httpx", "httpcore", "asyncio", "kubernetes.aio")
"""Libraries whose everyday news nobody needs; their warnings stay."""
_FIELDS = {"asctime": "time", "levelname": "level", "name": "logger"}


class RedactingFormatter(JsonFormatter):
    """Formats the whole line, then redacts it."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S%z",
            rename_fields=_FIELDS,
            json_ensure_ascii=False,
        )
        self._redactor = redactor

    @override
    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.redact(super().format(record))


def configure(level: str, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Make this the only way that anything is logged."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter(redactor))
    root = logging.getLogger()
    for known in list(root.handlers):
        root.removeHandler(known)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "DEBUG" else logging.WARNING)
    # Said by kopf because it runs beside the main thread; signals are handled by the process itself.
    logging.getLogger("kopf._core.reactor.running").addFilter(lambda record: "OS signals" not in record.getMessage())
    logging.captureWarnings(capture=True)

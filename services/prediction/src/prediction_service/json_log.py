"""Log lines as JSON, one object each, with the id of the request that they are about."""

from __future__ import annotations

import datetime
import json
import logging

__all__ = ["FIELDS", "JsonFormatter"]

FIELDS = ("request_id", "model", "conditions", "timings_ms", "defect")  # what our records carry beside the message


class JsonFormatter(logging.Formatter):
    """``time`` (UTC, ISO 8601), ``level``, ``logger``, ``message``, the fields that a record has, ``trace``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, object] = {
            "time": datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)

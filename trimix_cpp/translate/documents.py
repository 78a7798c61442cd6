"""`open_document` under the name that scripts of others know; the formats are in `documents/`."""

from ..documents import open_document as open_document

from .columns import Alignment as Alignment
from .guard import align as align
from .guard import report_for as report_for
from .report import Report as Report
from .vocabulary import BYTE_LETTERS as BYTE_LETTERS

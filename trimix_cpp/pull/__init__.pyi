from .run import check_alignment as check_alignment
from .run import pull as pull

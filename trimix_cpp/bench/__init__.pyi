from .measure import Bench as Bench
from .measure import Workload as Workload
from .random_models import DEFAULT_TYPE as DEFAULT_TYPE
from .random_models import random_trio as random_trio
from .report import FORMATS as FORMATS
from .report import document as document
from .report import load as load
from .report import machine as machine

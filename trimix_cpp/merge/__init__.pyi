from .methods import METHODS as METHODS
from .run import Merged as Merged
from .run import merge as merge
from .sources import Source as Source
from .sources import parse_source as parse_source

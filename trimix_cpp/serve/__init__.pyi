from .server import ServeFlags as ServeFlags
from .server import serve as serve

from .atomic import new_folder as new_folder
from .atomic import replacing as replacing
from .closing import Closing as Closing
from .hashing import read_sha256 as read_sha256
from .toml import read_toml as read_toml

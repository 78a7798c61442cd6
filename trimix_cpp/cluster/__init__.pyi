from .addresses import Address as Address
from .connecting import connected as connected
from .described import read_description as read_description
from .opening import Opening as Opening
from .opening import Runner as Runner
from .opening import Take as Take
from .opening import Told as Told
from .spread import Spread as Spread

from .results import Completion as Completion
from .results import Score as Score
from .results import Translation as Translation
from .texts import Chat as Chat
from .texts import Stream as Stream
from .trimix import TriMix as TriMix
from .trimix import load as load

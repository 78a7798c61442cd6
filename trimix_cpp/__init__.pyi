from .api import Chat as Chat
from .api import Completion as Completion
from .api import Score as Score
from .api import Stream as Stream
from .api import Translation as Translation
from .api import TriMix as TriMix
from .api import check_translation as check_translation
from .api import load as load
from .errors import AlignmentError as AlignmentError
from .errors import ContextFullError as ContextFullError
from .errors import ModelFileError as ModelFileError
from .errors import TrimixError as TrimixError
from .errors import UsageError as UsageError
from .fusion import Weights as Weights
from .store import RoleSpec as RoleSpec
from .store import TrioSpec as TrioSpec

__version__: str

from .attached import Ended as Ended
from .attached import attach as attach
from .attached import run_attached as run_attached
from .calls import Call as Call
from .calls import ChildDiedError as ChildDiedError
from .calls import Send as Send
from .python import Child as Child
from .python import start as start

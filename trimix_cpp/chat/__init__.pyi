from .conversation import Conversation as Conversation
from .conversation import Stats as Stats

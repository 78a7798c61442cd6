from .languages import Language as Language
from .languages import known_languages as known_languages
from .languages import language as language
from .paper import translation_prompt as translation_prompt
from .templates import PLAIN_STOP as PLAIN_STOP
from .templates import PLAIN_TEMPLATE as PLAIN_TEMPLATE
from .templates import ChatTemplate as ChatTemplate

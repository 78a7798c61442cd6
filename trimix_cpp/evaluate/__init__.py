"""The paper's tasks, by method, as one table with intervals.

`tasks` says what a task is, `milic`, `flores` and `pairs` read their publishers' files; `metrics`
and `resampling` are pure; `answering` sends prompts through the one loop, `journal` keeps what came
back, `results` makes the table; `elsewhere` has the workers of a cluster fill that journal.
`harness` lends a trio to lm-evaluation-harness. It stands beside `impact`; the command line imports
it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

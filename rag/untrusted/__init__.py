"""Text that others wrote: into a request as data, out of an answer without live addresses.

A document can try to speak to the language model. What it brings into a request is escaped (`escaped`), whether it
gives orders is told to the asker (`gives_orders`), and whatever the model made of it, an answer leaves with no link or
image that a screen would follow (`OutputFilter`), as a link can carry away what was said (Greshake et al. 2023, arXiv
2302.12173).
"""

from __future__ import annotations

from rag.untrusted.escaping import FOLDED, escaped
from rag.untrusted.orders import gives_orders
from rag.untrusted.output import OutputFilter

__all__ = ["FOLDED", "OutputFilter", "escaped", "gives_orders"]

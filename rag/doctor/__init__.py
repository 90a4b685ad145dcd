"""The self-check: what of the installation, the model, the index and the language model works, and what mends the rest.

    for finding in examine(settings):
        finding.check, finding.status, finding.detail, finding.remedy

Nothing is fetched or changed, save that opening an index ends a commit that was cut in two, as every reader does.
"""

from __future__ import annotations

from rag.doctor.examination import examine, examine_installation
from rag.doctor.finding import Finding, Limits, Status

__all__ = ["Finding", "Limits", "Status", "examine", "examine_installation"]

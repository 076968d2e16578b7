"""The Prefect block of our own; the server finds it by the entry point `prefect.collections` of this package."""

from __future__ import annotations

from typing import ClassVar

from prefect.blocks.notifications import AppriseNotificationBlock


class PodcastAlerts(AppriseNotificationBlock):
    """Notifications of the podcast pipeline, to any address that Apprise can write to: a webhook, e-mail, a chat."""

    _block_type_name: ClassVar[str] = "Podcast alerts"
    _block_type_slug: ClassVar[str] = "podcast-alerts"

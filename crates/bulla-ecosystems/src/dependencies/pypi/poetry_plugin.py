"""Tells Poetry where the packages of a step are, by its interface for plug-ins: no setting of it can say where its first index is."""

from poetry.plugins.application_plugin import ApplicationPlugin


class LockedRepository(ApplicationPlugin):
    def activate(self, application):
        from poetry.repositories.pypi_repository import PyPiRepository

        usual = PyPiRepository.__init__

        def init(self, url="{base}/pypi/", *args, **kwargs):
            usual(self, url, *args, **kwargs)

        PyPiRepository.__init__ = init

"""What the daemon remembers: watch states, incidents, notices to deliver and the last runs, in one SQL database."""

from monitor.store.errors import StoreError
from monitor.store.records import Batch, LastRun, Loaded
from monitor.store.store import Store

__all__ = ["Batch", "LastRun", "Loaded", "Store", "StoreError"]

"""Labels, annotations, finalizer and the other names of the group that people and other tools rely on."""

GROUP = "metacatalog.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "metacatalog"
"""`kubectl get metacatalog` lists every kind."""

FINALIZER = f"{GROUP}/external"
"""Set before anything of the object exists at Meta, removed when nothing is left to do there."""
FIELD_MANAGER = "meta-catalog-operator"

LABEL_CATALOG = f"{GROUP}/catalog"
"""Name of the Catalog that an operator-made object belongs to."""
LABEL_SCHEDULE = f"{GROUP}/schedule"
"""Name of the FeedSchedule that made a SyncOperation."""
LABEL_TRIGGER = f"{GROUP}/trigger"
"""Why an operator-made SyncOperation was made; copied to its status."""
LABEL_CREDENTIAL = f"{GROUP}/credential"
"""Secrets without this label (value "true") are never read."""

ANNOTATION_SYNC_REQUESTED_AT = f"{GROUP}/sync-requested-at"
"""One-shot request; acknowledged in status.lastHandledSyncAt."""

OPERATOR_NAMESPACE = "meta-catalog-system"
SERVICE_ACCOUNT = "meta-catalog-operator"
INSTALLATION_CONFIG_MAP = "metacatalog-installation"

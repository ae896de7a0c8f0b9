"""Who is who on a control plane: everything that is derived from its certificate authority, written anew at each start.

The operator gets a certificate that makes it, to the API server, the ServiceAccount that its Pod would run as: RBAC
bound to that ServiceAccount decides what it may do, and nothing else does.
"""

import datetime as dt
import json

from hack.controlplane import configuration
from hack.controlplane.certificates import Authority, KeyPair, signing_key
from hack.controlplane.configuration import API_SERVER_NAMES, API_SERVICE_ADDRESS, HOST, Layout, Settings
from hack.controlplane.files import write_private

OPERATOR_LIFE = dt.timedelta(days=30)
LIFE = dt.timedelta(days=365)
CONTROLLER_MANAGER_USER = "system:kube-controller-manager"  # bound to a role of that name by the API server itself
ADMINISTRATORS = "system:masters"  # RBAC does not apply to this group


def prepare(layout: Layout, settings: Settings, *, now: dt.datetime) -> None:
    """Write the certificates, the kubeconfigs and the audit policy."""
    authority = Authority.create(now=now)
    server = authority.server(names=API_SERVER_NAMES, addresses=(HOST, API_SERVICE_ADDRESS), now=now, life=LIFE)
    admin = authority.client(user="admin", groups=(ADMINISTRATORS,), now=now, life=LIFE)
    controllers = authority.client(user=CONTROLLER_MANAGER_USER, groups=(), now=now, life=LIFE)
    operator_user = configuration.service_account_user(settings.namespace, settings.service_account)
    operator_groups = configuration.service_account_groups(settings.namespace)
    operator = authority.client(user=operator_user, groups=operator_groups, now=now, life=OPERATOR_LIFE)

    def kubeconfig(client: KeyPair, user: str, namespace: str) -> bytes:
        url = f"https://{HOST}:{settings.port}"
        return configuration.kubeconfig(url=url, authority=authority.pem, client=client, user=user, namespace=namespace)

    content = {
        layout.authority: authority.pem,
        layout.server_certificate: server.certificate,
        layout.server_key: server.key,
        layout.admin_pem: admin.certificate + admin.key,
        layout.admin_kubeconfig: kubeconfig(admin, "admin", "default"),
        layout.controllers_kubeconfig: kubeconfig(controllers, CONTROLLER_MANAGER_USER, "default"),
        layout.operator_kubeconfig: kubeconfig(operator, operator_user, settings.namespace),
        layout.audit_policy: json.dumps(configuration.AUDIT_POLICY, indent=1).encode(),
    }
    if not layout.token_key.exists():  # tokens that were issued stay valid
        content[layout.token_key] = signing_key()
    for path, data in content.items():
        write_private(path, data)

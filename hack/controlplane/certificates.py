"""The certificates of a local control plane: one authority, and what it signs.

A client is who its certificate says: the common name is the user, the organisations are the groups. That is how the
operator gets a kubeconfig that is exactly its ServiceAccount to RBAC, without a token that ends after an hour.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = dt.timedelta(days=3650)
CLOCK_SKEW_ALLOWED = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs everything of one control plane."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, *, now: dt.datetime) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local control plane")])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _certificate(name, issuer=name, key=key, now=now, life=AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate=certificate, key=key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(
        self, *, names: Sequence[str], addresses: Sequence[str], now: dt.datetime, life: dt.timedelta
    ) -> KeyPair:
        """For a server that is reached under these host names and addresses."""
        alternatives = x509.SubjectAlternativeName(
            [*map(x509.DNSName, names), *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)]
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        return self._sign(subject, purpose=ExtendedKeyUsageOID.SERVER_AUTH, also=alternatives, now=now, life=life)

    def client(self, *, user: str, groups: Sequence[str], now: dt.datetime, life: dt.timedelta) -> KeyPair:
        """For a client that is this user in these groups."""
        organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._sign(subject, purpose=ExtendedKeyUsageOID.CLIENT_AUTH, also=None, now=now, life=life)

    def _sign(
        self,
        subject: x509.Name,
        *,
        purpose: x509.ObjectIdentifier,
        also: x509.ExtensionType | None,
        now: dt.datetime,
        life: dt.timedelta,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(subject, issuer=self.certificate.subject, key=key, now=now, life=life)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if also is not None:
            builder = builder.add_extension(also, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return KeyPair(certificate=certificate.public_bytes(serialization.Encoding.PEM), key=private_pem(key))


def _certificate(
    subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW_ALLOWED)
        .not_valid_after(now + life)
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # Not PKCS #8: the API server finds no public key for tokens in that.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def signing_key() -> bytes:
    """A key that ServiceAccount tokens are signed with."""
    return private_pem(ec.generate_private_key(ec.SECP256R1()))

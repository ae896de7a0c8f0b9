"""Certificates say who somebody is, for how long, and who vouches for it."""

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hack.controlplane.certificates import Authority, KeyPair

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
LIFE = dt.timedelta(days=30)


@pytest.fixture
def authority() -> Authority:
    return Authority.create(now=NOW)


def loaded(pair: KeyPair) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    key = serialization.load_pem_private_key(pair.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == certificate.public_key()
    return certificate


def test_a_client_is_its_common_name_in_the_groups_of_its_organisations(authority: Authority) -> None:
    certificate = loaded(authority.client(user="system:serviceaccount:a:b", groups=("g1", "g2"), now=NOW, life=LIFE))
    certificate.verify_directly_issued_by(authority.certificate)
    names = {
        oid: [name.value for name in certificate.subject.get_attributes_for_oid(oid)]
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    }
    assert names == {NameOID.COMMON_NAME: ["system:serviceaccount:a:b"], NameOID.ORGANIZATION_NAME: ["g1", "g2"]}
    assert certificate.not_valid_after_utc == NOW + LIFE
    assert certificate.not_valid_before_utc < NOW
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_is_its_names_and_addresses(authority: Authority) -> None:
    certificate = loaded(authority.server(names=["localhost"], addresses=["127.0.0.1"], now=NOW, life=LIFE))
    certificate.verify_directly_issued_by(authority.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_another_authority_vouches_for_nothing_of_it(authority: Authority) -> None:
    certificate = loaded(authority.client(user="u", groups=(), now=NOW, life=LIFE))
    with pytest.raises(Exception, match=r"^$"):
        certificate.verify_directly_issued_by(Authority.create(now=NOW).certificate)


def test_a_key_is_not_shown(authority: Authority) -> None:
    pair = authority.client(user="u", groups=(), now=NOW, life=LIFE)
    assert pair.key.decode() not in repr(pair)
    assert "PRIVATE KEY" not in repr(pair)

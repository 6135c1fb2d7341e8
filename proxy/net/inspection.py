"""What `check` reports of certificates that serve, but not all clients, or not all names."""

from collections.abc import Iterable, Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from proxy.net.certificate_set import KeyPair, choices, names_of, wildcard

_MOST_NAMED = 3


def chain_notes(pair: KeyPair) -> Iterator[str]:
    """What clients may miss in a certificate or the chain behind it."""
    leaf, *behind = x509.load_pem_x509_certificates(pair.chain)
    yield from _leaf_notes(leaf, pair.file)
    chain = _chain(leaf, behind)
    strays = [one for one in behind if not any(_issued(one, child) for child in (leaf, *chain))]
    for stray in strays:
        place = behind.index(stray) + 2
        yield f"{pair.file}: its certificate {place} ({_called(stray)}) issued none of the others; remove it"
    if not chain and leaf.issuer != leaf.subject:
        yield (
            f"{pair.file}: the certificate of its authority ({_called_name(leaf.issuer)}) is not behind it: only "
            "clients that have that one already trust it; add it (certbot: fullchain.pem)"
        )
    elif [one for one in behind if one in chain] != chain:
        order = ", ".join(_called(one) for one in chain)
        yield f"{pair.file}: its chain is out of order, which some clients refuse; behind the first belong {order}"


def _leaf_notes(leaf: x509.Certificate, file: str) -> Iterator[str]:
    kinds = {extension.oid: extension.value for extension in leaf.extensions}
    feature = kinds.get(x509.TLSFeature.oid)
    if isinstance(feature, x509.TLSFeature) and x509.TLSFeatureType.status_request in feature:
        yield f"{file}: asks for OCSP stapling (must-staple), which is not done here: browsers refuse it; get another"
    if x509.SubjectAlternativeName.oid not in kinds:
        yield f"{file}: has no subjectAltName: browsers take its name from nowhere else; get one that has"


def _chain(leaf: x509.Certificate, behind: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The certificates behind the first in their right order."""
    chain: list[x509.Certificate] = []
    child = leaf
    while child.issuer != child.subject:
        issuer = next((one for one in behind if one not in chain and _issued(one, child)), None)
        if issuer is None:
            break
        chain.append(issuer)
        child = issuer
    return chain


def _issued(issuer: x509.Certificate, child: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def authority_notes(pem: str, file: str) -> Iterator[str]:
    """Which of the authorities of client certificates can have issued none."""
    known = x509.load_pem_x509_certificates(pem.encode("ascii"))
    for one in known:
        if not _may_issue(one):
            yield f"tls_client_ca {file}: {_called(one)} is no authority; name the one that issued it"
        elif one.issuer != one.subject and not any(_issued(other, one) for other in known):
            yield (
                f"tls_client_ca {file}: {_called(one)} was issued by {_called_name(one.issuer)}, which is not in the "
                "file: none of its clients' certificates is taken without that one; add it"
            )


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:  # of the first version, which cannot say
        return certificate.version is x509.Version.v1
    except ValueError:  # what cannot be read is not judged
        return True


def shadow_notes(pairs: Sequence[KeyPair], now: float) -> Iterator[str]:
    """Which certificates are not shown for names that they are for."""
    found = choices(pairs, now)
    for pair in pairs:
        hidden = [name for name in pair.names if pair not in found[name]]
        if not hidden:
            continue
        shown = next((one for one in found[hidden[0]] if one.algorithm == pair.algorithm), found[hidden[0]][0])
        if pair.stands_in:
            yield f"a certificate for {_listed(hidden)} is made or obtained, and {shown.file} is for it too; keep one"
            continue
        why = f"both have {pair.algorithm} keys, and the first counts"
        if shown.valid(now) and not pair.valid(now):
            why = "it has expired" if pair.expires <= now else "it is not valid yet"
        yield f"{pair.file}: is not shown for {_listed(hidden)}, but {shown.file or shown.name} is: {why}"


def host_notes(hosts: Iterable[tuple[str, str]], pairs: Sequence[KeyPair]) -> Iterator[str]:
    """Which hosts (behind the names of their routes) no certificate is for."""
    names = names_of(pairs)
    for route, host in hosts:
        if host not in names and (host.startswith("*.") or wildcard(host) not in names):
            yield f"route {route}: no certificate is for {host}: browsers refuse it; add a [[certificate]] or a domain"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _called(certificate: x509.Certificate) -> str:
    return _called_name(certificate.subject)


def _called_name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return f"'{common[0].value!s}'" if common else f"'{name.rfc4514_string()}'"

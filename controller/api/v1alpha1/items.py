"""One entry of `Catalog.spec.items`: where the rows come from and what becomes of them."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from controller.api.base import ListMap, Rule, exactly_one, matches
from controller.api.durations import Duration, at_least
from controller.api.resource import Spec
from controller.api.v1alpha1.overrides import ONE_OVERLAY_EACH, OVERLAY_RULES, Override
from controller.api.values import (
    USER_INFO_PATTERN,
    EntryName,
    FieldName,
    ObjectName,
    Percent,
    SecretKeyRef,
    WebAddress,
)

HEADERS_MAX = 16
FIELDS_MAX = 256
"""Meta's item tables have fewer fields than this."""
VALUE_LENGTH_MAX = 5_000
"""Meta: field table, longest plain text value is kept well below."""
VALUE_FROM_LENGTH_MAX = 256
VALUES_MAX = 1_024
TEMPLATE_LENGTH_MAX = 2_000
SQL_LENGTH_MAX = 16_384
ROWS_MAX = 100_000_000
OVERLAYS_MAX = 8
ID_COLUMN = "id"
NOT_OVERLAID = ("id", "item_group_id", "previous_id")
"""Fields that say what an item is and where it lives: the full source alone gives them."""
PRESIGNED_PATTERN = r"(?i)[?&](x-amz-signature|x-goog-signature|sig|signature|token|access_token|api_?key|password)="
"""Query parameters that make an address a secret: S3, GCS, Azure, and what else is common."""

SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class ItemType(StrEnum):
    PRODUCT_ITEM = "ProductItem"


class FileType(StrEnum):
    AUTO = "Auto"
    CSV = "CSV"
    TSV = "TSV"
    JSON_LINES = "JSONLines"
    JSON = "JSON"
    XML = "XML"
    PARQUET = "Parquet"


class Compression(StrEnum):
    AUTO = "Auto"
    NONE = "None"
    GZIP = "GZip"
    ZIP = "Zip"
    BZIP2 = "BZip2"
    ZSTD = "Zstd"


class RejectedRows(StrEnum):
    """What happens to a row that fails a check."""

    KEEP_LAST_GOOD = "KeepLastGood"
    """Meta keeps the last good version of the row."""
    DROP = "Drop"
    """The row is treated as gone."""
    SEND = "Send"
    """The row is sent as it is; Meta decides."""


class Preset(StrEnum):
    """Exports whose columns are known."""

    SHOPIFY = "Shopify"
    WOO_COMMERCE = "WooCommerce"
    MAGENTO = "Magento"
    GOOGLE_MERCHANT = "GoogleMerchant"
    META_TEMPLATE = "MetaTemplate"


class DecimalSeparator(StrEnum):
    """What separates the decimals of a number."""

    POINT = "Point"
    COMMA = "Comma"


class BasicAuthSecretRef(Spec):
    """Names a Secret with a user name and a password."""

    name: ObjectName = Field(
        description='Name of the Secret. It must carry the label metacatalog.dev/credential: "true".',
    )
    username_key: SecretKey = Field(default="username", description="Key of the user name.")
    password_key: SecretKey = Field(default="password", description="Key of the password.")


class Header(Spec):
    """A header of the request for the source."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one("value", "valueSecretRef", message="give exactly one of value and valueSecretRef"),
        Rule(
            "has(self.valueSecretRef) || !" + matches("(?i)(auth|cookie|token|secret|password|api-?key)", "self.name"),
            "a header with credentials must come from a Secret: use valueSecretRef",
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")] = Field(
        description="Name of the header.",
    )
    value: Annotated[str, Field(max_length=1_024, pattern=r"^[ -~]*$")] | None = Field(
        default=None,
        description="Value that is no secret.",
    )
    value_secret_ref: SecretKeyRef | None = Field(default=None, description="Where the secret value is.")


class HTTPSource(Spec):
    """A file that a web server offers."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one("url", "urlSecretRef", message="give exactly one of url and urlSecretRef"),
        Rule(
            "!has(self.basicAuthSecretRef) || !has(self.bearerTokenSecretRef)",
            "give at most one of basicAuthSecretRef and bearerTokenSecretRef: both are the header Authorization",
        ),
        # On the object, not on the field: the API server repeats the value of a field in its answer.
        Rule(
            "!has(self.url) || !" + matches(USER_INFO_PATTERN, "self.url"),
            "must not carry a user name or password: put them into a Secret and name it in basicAuthSecretRef",
            ".url",
        ),
        Rule(
            "!has(self.url) || !" + matches(PRESIGNED_PATTERN, "self.url"),
            "a presigned address is a secret: put it into a Secret and name it in urlSecretRef",
            ".url",
        ),
    )

    url: WebAddress | None = Field(default=None, description="Address of the file, http or https.")
    url_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Where the address is, for addresses that are secrets themselves (presigned ones).",
    )
    basic_auth_secret_ref: BasicAuthSecretRef | None = Field(default=None, description="User name and password.")
    bearer_token_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Where the token is that goes into the header Authorization, behind the word Bearer.",
    )
    headers: Annotated[tuple[Header, ...], Field(max_length=HEADERS_MAX), ListMap(("name",))] = Field(
        default=(),
        description="Headers to send along.",
    )


class VolumeSource(Spec):
    """A file under a directory that the administrator gave a name."""

    name: EntryName = Field(description="Name of the root, as the operator's administrator set it.")
    path: Annotated[
        str,
        Field(min_length=1, max_length=1_024),
        Rule("!self.startsWith('/')", "must be relative to the root of the volume: remove the leading /"),
        Rule("!self.split('/').exists(part, part == '..')", "must not contain '..'"),
        Rule(matches(r"^[^\x00-\x1f\\]*$"), "must not contain control characters or backslashes"),
    ] = Field(description="Path of the file, relative to the root.")


class ObjectCredentialsSecretRef(Spec):
    """Names a Secret with the keys of an object store, under fixed names."""

    name: ObjectName = Field(
        description='Name of the Secret. It must carry the label metacatalog.dev/credential: "true". '
        "s3: access-key-id, secret-access-key and, if there is one, session-token. gs: service-account.json. "
        "az: account-name and account-key.",
    )


class ObjectSource(Spec):
    """A file in an object store."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        # On the object, not on the field: the API server repeats the value of a field in its answer.
        Rule(
            "!has(self.endpoint) || !" + matches(USER_INFO_PATTERN, "self.endpoint"),
            "must not carry a user name or password: put the keys into a Secret and name it in credentialsSecretRef",
            ".endpoint",
        ),
        Rule(
            "!has(self.region) || self.url.startsWith('s3://')",
            "only s3 has regions: remove it",
            ".region",
        ),
    )

    url: Annotated[
        str,
        Field(min_length=1, max_length=1_280),
        Rule(
            matches(r"^(s3|gs|az)://[a-z0-9][-a-z0-9._]{1,61}[a-z0-9]/."), "must be s3://bucket/key (or gs://, az://)"
        ),
        Rule(matches(r"^[^\x00-\x1f?#]*$"), "must not contain control characters, ? or #"),
    ] = Field(description="Bucket and key of the file: s3://bucket/key; gs://bucket/object; az://container/blob.")
    endpoint: WebAddress | None = Field(
        default=None,
        description="Address of an S3-compatible server, http or https. Absent: the provider's own.",
    )
    region: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][-a-z0-9]*$")] | None = Field(
        default=None,
        description="Region of an S3 bucket. Absent: us-east-1.",
    )
    credentials_secret_ref: ObjectCredentialsSecretRef | None = Field(
        default=None,
        description="Where the keys are. Absent: the operator's own identity, where its administrator allows that "
        "for this bucket.",
    )


class ConfigMapSource(Spec):
    """A small file in a ConfigMap of the same namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: SecretKey = Field(description="Key inside the ConfigMap, of data or of binaryData.")


class SQLSource(Spec):
    """Rows of a PostgreSQL database."""

    dsn_secret_ref: SecretKeyRef = Field(
        description="Where the connection string is: postgresql://user:password@host:5432/database?sslmode=require. "
        "Use a user that may only read.",
    )
    query: Annotated[str, Field(min_length=1, max_length=16_384)] = Field(
        description="One statement that returns rows, without a semicolon. Columns are named as in the mapping; "
        "with ORDER BY an unchanged table gives an unchanged file.",
    )


ONE_SOURCE = "give exactly one source: http, object, volume, configMap or sql"


class Source(Spec):
    """Where the rows come from: exactly one of these."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one("http", "object", "volume", "configMap", "sql", message=ONE_SOURCE),
    )

    http: HTTPSource | None = Field(default=None, description="A file that a web server offers.")
    object_: ObjectSource | None = Field(default=None, description="A file in an object store.")
    volume: VolumeSource | None = Field(default=None, description="A file on a volume that the administrator named.")
    config_map: ConfigMapSource | None = Field(default=None, description="A small file in a ConfigMap.")
    sql: SQLSource | None = Field(default=None, description="Rows of a PostgreSQL database.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(each is not None for each in (self.http, self.object_, self.volume, self.config_map, self.sql)) != 1:
            raise ValueError(ONE_SOURCE)
        return self


class FileFormat(Spec):
    """How the file is to be read. Auto looks at its name and first bytes."""

    type: FileType = Field(default=FileType.AUTO, description="Format of the file.")
    delimiter: Annotated[str, Field(max_length=4, pattern=r'^(Auto|[^\r\n"])$')] = Field(
        default="Auto",
        description='What separates columns: Auto, or one character such as ";" or "|" ("\\t" is a tab).',
    )
    encoding: Annotated[str, Field(min_length=3, max_length=40, pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.:]*$")] = Field(
        default="Auto",
        description="Encoding of text: Auto, or a name such as utf-8, utf-16, windows-1252, iso-8859-1, shift_jis.",
    )
    compression: Compression = Field(
        default=Compression.AUTO,
        description="Compression of the file. A Zip must hold exactly one file.",
    )
    rows_at: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^.\s]+(\.[^.\s]+)*$")] | None = Field(
        default=None,
        description="JSON: path of the array that holds the rows, e.g. products or data.items. "
        "XML: path of the element that is a row, e.g. offer or shop.offers.offer. Absent: found by itself.",
    )


class Evidence(Spec):
    """What a read must show before anyone believes it."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        # On the object, not on the field: the API server repeats the value of a field in its answer.
        Rule(
            "!has(self.checksumURL) || !" + matches(USER_INFO_PATTERN, "self.checksumURL"),
            "must not carry a user name or password: the credentials of the source serve for the same host",
            ".checksumURL",
        ),
    )

    checksum_url: WebAddress | None = Field(
        default=None,
        description="Address of a file with the SHA-256 or MD5 of the source's file as it is delivered "
        "(a bare digest, or lines as sha256sum writes them). A read that does not match is refused.",
    )
    required_columns: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=FIELDS_MAX)
    ] = Field(
        default=(),
        description="Columns of the source without which a read is refused, "
        "so that a column that vanishes clears no field.",
    )
    min_rows: Annotated[int, Field(ge=0, le=ROWS_MAX)] = Field(
        default=1,
        description="A read with fewer rows is refused.",
    )
    max_shrink_percent: Percent | None = Field(
        default=None,
        description="A read that lost more than this share of its rows is refused as a whole. "
        "Absent: the guard of the Catalog decides item by item.",
    )


class ColumnMapping(Spec):
    """Takes a field from a column of the source."""

    field: FieldName = Field(description="Field of Meta's table, e.g. id, title, price.")
    column: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Column of the source.")


class ConstantMapping(Spec):
    """Gives a field the same value in every row."""

    field: FieldName = Field(description="Field of Meta's table, e.g. brand.")
    value: Annotated[str, Field(max_length=VALUE_LENGTH_MAX)] = Field(
        description='The value, always a string: quote yes, no, true, false and numbers ("yes").',
    )


class TemplateMapping(Spec):
    """Writes a field from several columns."""

    field: FieldName = Field(description="Field of Meta's table, e.g. link.")
    template: Annotated[
        str,
        Field(min_length=1, max_length=TEMPLATE_LENGTH_MAX),
        Rule(
            matches(r"^([^{}]|\{\{|\}\}|\{[^{}]+\})*$"),
            "name columns in single braces, e.g. {Handle}; a brace itself is written twice",
        ),
        Rule(matches(r"(^|[^{])(\{\{)*\{[^{}]+\}"), "names no column: use constants for a fixed value"),
    ] = Field(
        description="Text with columns in braces: https://shop.example/p/{Handle}?variant={Variant SKU}. "
        "In addresses the values are percent-encoded, but for one that begins the template; / stays before the ?.",
    )


class ValueMapping(Spec):
    """Replaces one value of a field by another."""

    field: FieldName = Field(description="Field of Meta's table, e.g. availability.")
    from_: Annotated[str, Field(max_length=VALUE_FROM_LENGTH_MAX)] = Field(
        description='The whole value as the source has it, always a string: quote yes, no and numbers ("yes"). '
        "An empty one stands for cells without a value.",
    )
    to: Annotated[str, Field(max_length=VALUE_LENGTH_MAX)] = Field(
        description="What is sent instead, always a string; an empty one removes the value.",
    )


class Mapping(Spec):
    """How columns of the source become fields. Columns with the name of a field need no entry.

    A preset or a SELECT first turns the rows of the source into other rows. Then each field comes from what is
    declared here, else from the preset, else from the column with its name. Then values are replaced.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(self.preset) || !has(self.sql)", "give at most one of preset and sql", ".sql"),
    )

    preset: Preset | None = Field(
        default=None,
        description="The export that this is: fields are taken from its columns, parents and variants are told apart.",
    )
    columns: Annotated[tuple[ColumnMapping, ...], Field(max_length=FIELDS_MAX), ListMap(("field",))] = Field(
        default=(),
        description="Fields that come from a column with another name.",
    )
    constants: Annotated[tuple[ConstantMapping, ...], Field(max_length=FIELDS_MAX), ListMap(("field",))] = Field(
        default=(),
        description="Fields with the same value in every row.",
    )
    templates: Annotated[tuple[TemplateMapping, ...], Field(max_length=FIELDS_MAX), ListMap(("field",))] = Field(
        default=(),
        description="Fields that are written from several columns.",
    )
    values: Annotated[tuple[ValueMapping, ...], Field(max_length=VALUES_MAX), ListMap(("field", "from"))] = Field(
        default=(),
        description="Values that are replaced by others, whichever way they came.",
    )
    decimal: DecimalSeparator = Field(
        default=DecimalSeparator.POINT,
        description='What separates the decimals of prices in the source: Point (1,299.90) or Comma ("1.299,90").',
    )
    sql: Annotated[str, Field(min_length=1, max_length=SQL_LENGTH_MAX)] | None = Field(
        default=None,
        description="One SELECT over the table source, whose columns are those of the source, as text. "
        "Dialect: DuckDB. Files, tables, settings, the clock and chance are out of reach.",
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.preset is not None and self.sql is not None:
            raise ValueError("give at most one of preset and sql")
        return self


class PreviousID(Spec):
    """Which item, without variants, a variant replaces: exactly one of these."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one("column", "template", "idPattern", message="give exactly one of column, template and idPattern"),
    )

    column: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Column of the source with the old id.",
    )
    template: Annotated[str, Field(min_length=1, max_length=TEMPLATE_LENGTH_MAX)] | None = Field(
        default=None,
        description="Text with columns in braces that makes the old id, e.g. P-{Handle}.",
    )
    id_pattern: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Regular expression with one group, which is the old id within the new one: ^([0-9]+)_.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if [self.column, self.template, self.id_pattern].count(None) != 2:
            raise ValueError("give exactly one of column, template and idPattern")
        return self


class VariantScenario(StrEnum):
    """What Meta has, against what the source has."""

    AUTO = "Auto"
    """Told from what Meta holds; where ids would be orphaned, the read is held."""
    NO_VARIANTS = "NoVariants"
    EXISTING_VARIANTS = "ExistingVariants"
    NEW_VARIANTS = "NewVariants"
    """Variants replace items without variants: previousID must say which."""


class Variants(Spec):
    """Variants, and what becomes of the ids that they replace."""

    scenario: VariantScenario = Field(
        default=VariantScenario.AUTO,
        description="Auto tells from Meta's items whether variants replace items that have none, and then holds a read "
        "that would orphan them. ExistingVariants and NoVariants never hold; NewVariants always asks for previousID.",
    )
    previous_id: PreviousID | None = Field(
        default=None,
        description="Which old id a variant replaces. Meta then keeps what it learned about the old item.",
    )


class EmptyCells(StrEnum):
    """What a cell without a value says."""

    KEEP = "Keep"
    """Nothing: the value that the overlay had before stays."""
    CLEAR = "Clear"
    """That the item has no such value."""


class Overlay(Spec):
    """A file with some fields of items that the full source has, e.g. prices or stock, refreshed on its own.

    Its values win over those of the full source; of several overlays the last listed one that ever had a value wins.
    It makes and removes no items. When an overlay is removed, its values end. With override its values are for one
    language or country, where Meta shows them instead of the item's own.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        *OVERLAY_RULES,
        Rule(
            f"!has(self.columns) || !self.columns.exists(each, each.field in {list(NOT_OVERLAID)})",
            "id, item_group_id and previous_id come from the full source: name the id in idColumn",
            ".columns",
        ),
    )

    name: EntryName = Field(description="Name of the overlay, unique in the entry.")
    interval: Annotated[Duration, at_least("5s")] = Field(
        default=timedelta(minutes=5),
        description="How often to look at the file. With an ETag a quiet look costs one request.",
    )
    source: Source = Field(description="Where the file is.")
    format: FileFormat = Field(default=FileFormat(), description="How the file is to be read.")
    evidence: Evidence = Field(default=Evidence(), description="What a read must show before anyone believes it.")
    id_column: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        default=ID_COLUMN,
        description="Column with the id of the item.",
    )
    columns: Annotated[tuple[ColumnMapping, ...], Field(max_length=FIELDS_MAX), ListMap(("field",))] = Field(
        default=(),
        description="Fields that the overlay gives, and their columns; no other columns are taken then. "
        "Absent: every column with the name of a field.",
    )
    values: Annotated[tuple[ValueMapping, ...], Field(max_length=VALUES_MAX), ListMap(("field", "from"))] = Field(
        default=(),
        description="Values that are replaced by others.",
    )
    decimal: DecimalSeparator = Field(
        default=DecimalSeparator.POINT,
        description='What separates the decimals of prices: Point (1,299.90) or Comma ("1.299,90").',
    )
    empty_cells: EmptyCells = Field(
        default=EmptyCells.KEEP,
        description="What an empty cell says: nothing, so that the last value stays (Keep), or no value (Clear).",
    )
    override: Override | None = Field(
        default=None,
        description="For whom the values are: they are shown in this language or country only, and do not win over "
        "those of the full source elsewhere. Absent: for all.",
    )


class ItemsEntry(Spec):
    """Where the rows of one item type come from and what becomes of them."""

    RULES: ClassVar[tuple[Rule, ...]] = (ONE_OVERLAY_EACH,)

    name: EntryName = Field(description="Name of the entry, unique in the Catalog.")
    item_type: ItemType = Field(default=ItemType.PRODUCT_ITEM, description="What the rows are.")
    interval: Annotated[Duration, at_least("5s")] = Field(
        default=timedelta(minutes=5),
        description="How often to look at the source. With an ETag a quiet look costs one request.",
    )
    currency: Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$")] | None = Field(
        default=None,
        description="ISO 4217 code for prices that carry none, e.g. EUR.",
    )
    source: Source = Field(description="Where the rows come from.")
    format: FileFormat = Field(default=FileFormat(), description="How the file is to be read.")
    evidence: Evidence = Field(default=Evidence(), description="What a read must show before anyone believes it.")
    mapping: Mapping = Field(default=Mapping(), description="How columns of the source become fields.")
    variants: Variants = Field(default=Variants(), description="Variants, and the ids that they replace.")
    overlays: Annotated[tuple[Overlay, ...], Field(max_length=OVERLAYS_MAX), ListMap(("name",))] = Field(
        default=(),
        description="Files with newer values of some fields, each refreshed on its own. The last listed one wins.",
    )
    rejected_rows: RejectedRows = Field(
        default=RejectedRows.KEEP_LAST_GOOD,
        description="What happens to a row that fails a check. It never becomes a deletion with KeepLastGood.",
    )

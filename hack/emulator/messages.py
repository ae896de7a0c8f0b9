"""Every error the emulator answers, once: code, subcode, type, status and words.

Texts follow what Meta's pages and public reports show. HTTP status is no classifier at Meta; 400 is used for everything
but codes 1 and 2 (500), as reported.
"""

from dataclasses import dataclass, field

from hack.emulator import jsons

OAUTH = "OAuthException"
METHOD = "GraphMethodException"


@dataclass(slots=True, eq=False)
class GraphError(Exception):
    """An answer in Meta's error envelope."""

    code: int
    message: str
    type: str = OAUTH
    subcode: int | None = None
    status: int = 400
    transient: bool | None = None
    title: str | None = None
    user_message: str | None = None
    blamed: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def envelope(self, trace: str) -> jsons.Object:
        error: jsons.Object = {"message": self.message, "type": self.type, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient is not None:
            error["is_transient"] = self.transient
        if self.blamed:
            error["error_data"] = {"blame_field_specs": [[name] for name in self.blamed]}
        if self.title is not None:
            error["error_user_title"] = self.title
        if self.user_message is not None:
            error["error_user_msg"] = self.user_message
        error["fbtrace_id"] = trace
        return {"error": error}


def please_reduce() -> GraphError:
    text = "Please reduce the amount of data you're asking for, then retry your request"
    return GraphError(1, text, status=500)


def unknown_error() -> GraphError:
    return GraphError(1, "An unknown error occurred", status=500, transient=False)


def unavailable() -> GraphError:
    return GraphError(2, "Service temporarily unavailable", status=500, transient=True)


def app_limit() -> GraphError:
    return GraphError(4, "(#4) Application request limit reached", transient=True)


def user_limit() -> GraphError:
    return GraphError(17, "(#17) User request limit reached", subcode=2446079, transient=True)


def custom_limit() -> GraphError:
    return GraphError(613, "(#613) Calls to this api have exceeded the rate limit.", subcode=1996, transient=True)


def management_limit() -> GraphError:
    text = "(#80009) There have been too many calls to this Ads Catalog account. Wait a bit and try again."
    return GraphError(80009, text)


def batch_limit() -> GraphError:
    text = (
        "(#80014) There have been too many calls for the batch uploads to this catalog account. "
        "Wait a bit and try again."
    )
    return GraphError(80014, text)


def invalid(text: str, *blamed: str) -> GraphError:
    return GraphError(100, f"(#100) {text}", blamed=blamed)


def missing_parameter(name: str) -> GraphError:
    return invalid(f"The parameter {name} is required", name)


def unknown_parameter(name: str, where: str) -> GraphError:
    return invalid(f"Param {name} is not a parameter of {where}", name)


def unknown_field(name: str, node: str) -> GraphError:
    return invalid(f"Tried accessing nonexisting field ({name}) on node type ({node})")


def not_visible(id: str, verb: str) -> GraphError:  # noqa: A002
    text = (
        f"Unsupported {verb} request. Object with ID '{id}' does not exist, "
        "cannot be loaded due to missing permissions, or does not support this operation. "
        "Please read the Graph API documentation at "
        "https://developers.facebook.com/docs/graph-api"
    )
    return GraphError(100, text, type=METHOD, subcode=33)


def unknown_path(path: str) -> GraphError:
    return GraphError(2500, f"Unknown path components: /{path}")


def no_token() -> GraphError:
    return GraphError(2500, "An active access token must be used to query information about the current user.")


def syntax(text: str) -> GraphError:
    return GraphError(2500, f'Syntax error "{text}"')


TOKEN_WORDS: dict[int, str] = {
    452: "Error validating access token: The session has been logged out.",
    458: "Error validating access token: The user has not authorized application.",
    460: "Error validating access token: The session has been invalidated because the user changed their password.",
    463: "Error validating access token: Session has expired.",
    464: "Error validating access token: Sessions for an unconfirmed user are not allowed.",
    465: "Error validating access token: The session is not allowed.",
    467: "Error validating access token: The access token is invalid.",
}


def bad_token(subcode: int | None) -> GraphError:
    text = TOKEN_WORDS.get(subcode or 0, "Invalid OAuth access token - Cannot parse access token")
    return GraphError(190, text, subcode=subcode)


def proof_missing() -> GraphError:
    return GraphError(100, "API calls from the server require an appsecret_proof argument", type=METHOD)


def proof_wrong() -> GraphError:
    return GraphError(100, "Invalid appsecret_proof provided in the API argument", type=METHOD)


def no_permission(permission: str) -> GraphError:
    return GraphError(200, f"(#200) Requires {permission} permission to manage the object")


def inspecting_refused() -> GraphError:
    return invalid(
        "You must provide an app access token, or a user access token that is an owner or developer of the app"
    )


def deprecated_version(latest: str) -> GraphError:
    text = (
        f"(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version: {latest}."
    )
    return GraphError(2635, text)


def file_or_url() -> GraphError:
    return GraphError(10801, '(#10801) Either "file" or "url" must be specified.', blamed=("file", "url"))


def catalog_exists(name: str) -> GraphError:
    return GraphError(804, f"(#804) A catalog named '{name}' already exists")


def not_built(section: str) -> GraphError:
    """Documented by Meta, not emulated yet: said plainly, with a status no client takes for Meta's."""
    text = f"The emulator does not implement this yet; missing section: {section}"
    return GraphError(1, text, type="EmulatorNotImplemented", status=501, transient=False)

"""The few pages that a person sees. Plain HTML without scripts, so nothing can be injected or leak."""

from html import escape

from starlette.responses import HTMLResponse

_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 4rem auto; padding: 0 1rem; }}
code {{ display: block; background: #f2f3f7; padding: .8rem 1rem; border-radius: .4rem; overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #14161c; color: #dfe3ec; }}
  code {{ background: #242833; }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A whole page. `body` is HTML made by us; everything from outside in it is escaped by the caller."""
    return HTMLResponse(_FRAME.format(title=escape(title), body=body), status)


def login_page(login_id: str) -> HTMLResponse:
    """Shows the line with which an administrator lets the device in."""
    command = f"headscale auth register --auth-id {escape(login_id)} --user USERNAME"
    return page(
        "Device registration",
        "<p>A device asks to join. Run this where the control server is administered, "
        "with the name of the user who will own the device:</p>"
        f"<code>{command}</code>"
        "<p>The device continues by itself as soon as the command has run.</p>",
    )


def bad_login_page() -> HTMLResponse:
    return page("Invalid link", "<p>invalid auth id</p>", 400)

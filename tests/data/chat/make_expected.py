#!/usr/bin/env python3
"""Makes expected.json: what the PyPI package jinja2 makes of templates/*.jinja and the conversations.

    make_expected.py [FOLDER]

jinja2 (3.1) is set up as transformers sets it up for chat templates. A rendering that fails is {"error": message}: the
message of raise_exception, or null where Jinja or Python fails with words of its own.
"""
import datetime, json, pathlib, sys

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = datetime.datetime(2025, 3, 9, 8, 5, 0)


class Refused(Exception):
    pass


class Generation(jinja2.ext.Extension):
    """{% generation %} marks what an assistant said; it shows its content."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("show"), [], [], body).set_lineno(line)

    def show(self, caller):
        return caller()


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                        extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise Refused(message)

    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def rendered(template, tokens, case):
    given = {"tools": None, "documents": None, "add_generation_prompt": False, **tokens, **case["options"]}
    given.update(given.pop("variables", {}))
    try:
        return template.render(messages=case["messages"], **given)
    except Refused as error:
        return {"error": str(error)}
    except Exception:
        return {"error": None}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    data = json.loads((folder / "conversations.json").read_text(encoding="utf-8"))
    result = {}
    for path in sorted((folder / "templates").glob("*.jinja")):
        template = environment().from_string(path.read_bytes().decode())
        result[path.stem] = {case["name"]: rendered(template, data["tokens"], case) for case in data["cases"]}
    snippets = json.loads((folder / "snippets.json").read_text(encoding="utf-8"))
    made = []
    for text in snippets["templates"]:
        try:
            made.append(environment().from_string(text).render(**snippets["variables"]))
        except Exception:
            made.append(None)
    text = json.dumps({"templates": result, "snippets": made}, ensure_ascii=False, indent=1)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")
    total = [v for cases in result.values() for v in cases.values()]
    print(f"{len(total)} renderings, {sum(isinstance(v, dict) for v in total)} of them errors; "
          f"{len(made)} snippets, {made.count(None)} of them errors")


main()

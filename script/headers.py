"""The public headers as data: sections, groups of declarations under one comment, and the table of errors.

A comment is about the declarations that follow it up to an empty line or the next comment, one beside a declaration about that alone.
"/* ---- title: text ---- more */" begins a section; what it says holds for all of it."""
import dataclasses
import re

TITLES = {"error.h": "errors", "uv.h": "in a libuv loop"}  # of what is before a header's first section


@dataclasses.dataclass
class Item:
    kind: str  # function, struct, enum, type, constant, errors
    name: str
    code: str
    note: str = ""  # the comment beside it
    exported: bool = True  # by KITH_API, or in the header itself
    must_check: bool = False


@dataclasses.dataclass
class Group:
    comment: str = ""
    items: list = dataclasses.field(default_factory=list)

    def of(self, *kinds):
        return [i for i in self.items if i.kind in kinds]

    def subject(self):
        """What its comment is about."""
        return (self.of("function") or self.items)[0]

    def named(self):
        """What can be looked up: functions and types."""
        return self.of("function") + self.of("struct", "enum", "type")


@dataclasses.dataclass
class Section:
    title: str
    text: str
    header: str
    groups: list = dataclasses.field(default_factory=list)


# ---- reading ----

def comment_text(raw):
    """A comment without its frame; paragraphs and code keep their lines."""
    lines = re.sub(r"^/\*|\*/$", "", raw).split("\n")
    return "\n".join([lines[0].strip()] + [re.sub(r"^ \* ?", "", line).rstrip() for line in lines[1:]]).strip()


def end_of_declaration(text, at):
    """Where a declaration that begins at `at` ends: after its ";", or its body."""
    depth = 0
    while at < len(text):
        if text.startswith("/*", at):
            at = text.index("*/", at) + 2
            continue
        c = text[at]
        at += 1
        if c in "({":
            depth += 1
        elif c in ")}":
            depth -= 1
            if c == "}" and depth == 0 and re.match(r"\n", text[at:]):
                return at
        elif c == ";" and depth == 0:
            return at
    return at


def declaration(code):
    """(kind, name) of C that declares something."""
    bare = re.sub(r"(?s)/\*.*?\*/", "", code)
    m = re.match(r"typedef\s+(struct|enum)\s+(\w+)\s*\{|(struct|enum)\s+(\w+)\s*\{", bare)
    if m:
        return (m[1] or m[3], m[2] or m[4])
    if bare.startswith("typedef"):
        m = re.search(r"\(\*(\w+)\)\s*\(", bare) or re.search(r"(\w+)\s*;\s*$", bare)
        return "type", m[1]
    m = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\(\(.*?\)\)", "", bare))
    return ("function", m[1]) if m else (None, None)


def clean_code(kind, code):
    if kind != "function":
        return code
    head = re.sub(r"\b(KITH_API|KITH_MUST_CHECK|static|inline)\s+", "", code.split("\n{")[0].rstrip(";"))
    return re.sub(r"\s+", " ", head).strip() + ";"


def parse(text, header):
    """(what the header begins with, its sections)"""
    at, intro = 0, None
    section = Section(TITLES.get(header, ""), "", header)
    sections, group = [section], Group()
    section.groups.append(group)

    def begin(comment=""):
        nonlocal group
        group = Group(comment)
        section.groups.append(group)

    while at < len(text):
        line_end = text.find("\n", at) + 1 or len(text)
        line = text[at:line_end]
        if not line.strip():
            begin()
        elif line.startswith("/*"):
            line_end = text.index("*/", at) + 3
            raw = comment_text(text[at:line_end - 1])
            mark = re.match(r"(?s)---- (.*?) ----\s*(.*)", raw)
            if intro is None:
                intro = raw
            elif mark:
                title, _, rest = re.sub(r"\s+", " ", mark[1]).partition(": ")
                rest = rest and rest[0].upper() + rest[1:] + "."
                section = Section(title, "\n\n".join(filter(None, [rest, mark[2]])), header)
                sections.append(section)
                begin()
            else:
                begin(raw)
        elif re.match(r"#\s*(if|ifdef)\b", line):
            depth = 0
            for m in re.finditer(r"(?m)^#\s*(if|ifdef|ifndef|endif)\b.*\n?", text[at:]):
                depth += -1 if m[1] == "endif" else 1
                if not depth:
                    line_end = at + m.end()
                    break
        elif line.startswith("#define"):
            m = re.match(r"#define\s+(\w+)(\(.*?\))?((?:.*\\\n)*.*)\n", text[at:])
            line_end = at + m.end()
            note = re.search(r"(?s)/\*.*?\*/\s*$", m[3]) if not m[2] else None
            value = (m[3][:note.start()] if note else m[3]).strip()
            if m[2] and m[1] == "KITH_ERRORS":
                group.items.append(Item("errors", m[1], m[3]))
            elif value and not m[2]:
                group.items.append(Item("constant", m[1], value, comment_text(note[0].strip()) if note else ""))
        elif not line.startswith(("#", "}", "extern")):
            end = end_of_declaration(text, at)
            code = text[at:end]
            note = re.match(r"[ \t]*(/\*(?s:.*?)\*/)", text[end:])
            line_end = text.find("\n", end + (note.end() if note else 0)) + 1 or len(text)
            kind, name = declaration(code)
            forward = re.fullmatch(r"typedef struct (\w+) \1;", code) and re.search(rf"(?m)^struct {name} \{{", text)
            if name and "__" not in name and not forward and (kind, name) not in [(i.kind, i.name) for g in section.groups for i in g.items]:
                group.items.append(Item(kind, name, clean_code(kind, code), comment_text(note[1]) if note else "",
                                        "KITH_API" in code or code.startswith("static inline"),
                                        "KITH_MUST_CHECK" in code or not re.search(r"\bkith_err \w+\(", code)))
        at = line_end
    for s in sections:
        s.groups = [g for g in s.groups if g.items]
    return intro or "", [s for s in sections if s.groups]


class Api:
    """All headers together."""

    def __init__(self, texts):
        self.intros, self.sections = {}, []
        for header, text in texts.items():
            self.intros[header], sections = parse(text, header)
            self.sections += sections
        self.items = {i.name: i for s in self.sections for g in s.groups for i in g.items}
        table = next((i.code for i in self.items.values() if i.kind == "errors"), "")
        self.errors = {m[0]: (int(m[1]), int(m[2]), m[3])
                       for m in re.findall(r'X\((\w+), (-?\d+), (\d+),\s*"(.*?)"\)', re.sub(r"\\\n", "", table))}
        self.members = {n: v for i in self.items.values() if i.kind == "enum" for n, v, _ in self.enumerators(i)}
        self.events = {n[len("KITH_EVENT_"):] for n in self.members if n.startswith("KITH_EVENT_")}

    def enumerators(self, item):
        """[(name, value, comment)]"""
        if item.name == "kith_err":
            return [("KITH_OK", 0, "it was done")] + [("KITH_ERR_" + n, v[0], v[2]) for n, v in self.errors.items()]
        found, value = [], -1
        body = item.code[item.code.index("{") + 1:item.code.rindex("}")]
        for m in re.finditer(r"(\w+)(?:\s*=\s*(-?\d+))?\s*(?:,|$)\s*(/\*(?s:.*?)\*/)?", body):
            value = int(m[2]) if m[2] else value + 1
            found.append((m[1], value, re.sub(r"\s+", " ", comment_text(m[3])) if m[3] else ""))
        return found

    def types_of(self, item, seen=()):
        """Structures and enumerations that a declaration names, and those that they name."""
        found = {}
        for name in re.findall(r"\bkith_\w+", re.sub(r"(?s)/\*.*?\*/", "", item.code)):
            t = self.items.get(name)
            if t and t.kind in ("struct", "enum") and t is not item and name not in seen:
                found |= {name: t} | {u.name: u for u in self.types_of(t, (*seen, item.name, name))}
        return list(found.values())

    def errors_in(self, text):
        return [e for e in self.errors if re.search(rf"\b{e}\b", text)]

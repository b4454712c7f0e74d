"""What a page says, as a parser of HTML reads it."""

import html.parser

VOID = {"meta", "img", "input"}


class Page(html.parser.HTMLParser):
    """A parsed page.

    Attributes:
      tags: [(name, attributes, text directly within it)] in their order.
      wrong: tags that close what is not open.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.wrong, self._open = [], [], []
        self.feed(text)
        self.close()
        self.wrong += [tag for tag, _ in self._open]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes), []))
        if tag not in VOID:
            self._open.append((tag, self.tags[-1]))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
        else:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data):
        if self._open:
            self._open[-1][1][2].append(data)

    def all(self, name):
        """(attributes, text) of every tag of a name."""
        return [(attributes, "".join(text)) for tag, attributes, text in self.tags if tag == name]

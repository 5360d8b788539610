"""The glossary of the site: that of the report."""

from ntkgap.reporting.glossary import GLOSSARY


def page() -> str:
    """The page, in alphabetical order."""
    terms = sorted(GLOSSARY.items(), key=lambda term: term[0].lower())
    entries = "\n".join(f"{term}\n: {meaning}\n" for term, meaning in terms)
    return (
        "# Glossary\n\nThe report explains these words where the pointer is on them. "
        f"The same words in one list:\n\n{entries}"
    )

"""Text out of files and pages: plain text and Markdown as they are, HTML and PDF read in a process of their own."""

from aragora.documents.reading import PDF, Unreadable, kind_of, text_of

__all__ = ["PDF", "Unreadable", "kind_of", "text_of"]

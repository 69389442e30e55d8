"""The controller's pages: templates and what fills them."""

"""One wrapper per library or protocol. Here, and nowhere else, a library's exceptions become evidence."""

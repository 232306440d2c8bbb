"""What decides: plain functions, which a test calls without any host."""


def listed(title, images):
    return f"{title}\n\n" + "".join(f"- {image}\n" for image in images)

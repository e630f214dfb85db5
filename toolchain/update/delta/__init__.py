"""Update files: made on the server, inspected anywhere, applied on the device."""

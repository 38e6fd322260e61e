# Token by which a machine proves its name when it pushes, and what servers know of it.
openssl rand -hex 32 | tr -d '\n' > "$out/token"
sha256sum < "$out/token" | cut -d ' ' -f 1 | tr -d '\n' > "$out/sha256"

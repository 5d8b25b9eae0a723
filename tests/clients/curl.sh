# curl: a file is uploaded, found, asked about and deleted.
set -eu
call() { curl --silent --show-error --fail-with-body --header "Authorization: Bearer $SLUICE_KEY" "$@"; }
expect() { case $2 in *"$1"*) ;; *) echo "$1 is missing: $2"; exit 1 ;; esac; }

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
echo "The ferry costs four crowns." > "$folder/ferry.txt"
document=$(call --form "file=@$folder/ferry.txt" "$SLUICE_URL/v1/documents" | sed 's/.*"id":"\([^"]*\)".*/\1/')
# The stream of events ends when the document is ready or failed.
expect '"status":"ready"' "$(call --no-buffer "$SLUICE_URL/v1/documents/$document/events")"
expect 'ferry.txt' "$(call --json '{"query": "price of the ferry"}' "$SLUICE_URL/v1/search")"

chat='{"model": "sluice", "messages": [{"role": "user", "content": "What does the ferry cost?"}], "stream": true}'
stream=$(call --no-buffer --json "$chat" "$SLUICE_URL/v1/chat/completions")
expect 'chat.completion.chunk' "$stream"
expect 'data: [DONE]' "$stream"

call --request DELETE "$SLUICE_URL/v1/documents/$document"
test "$(curl --silent --output /dev/null --write-out '%{http_code}' "$SLUICE_URL/v1/models")" = 401

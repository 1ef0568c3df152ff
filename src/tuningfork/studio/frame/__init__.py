"""What all pages stand on: a visit, the API as its visitor may use it, templates, cookies, the gate, failures."""

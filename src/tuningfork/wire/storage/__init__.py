"""JSON and headers of the API of Google Cloud Storage (storage/v1), to values of this house and back."""

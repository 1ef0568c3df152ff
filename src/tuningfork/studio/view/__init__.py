"""What the API's answers mean in words and numbers: pure functions that know no HTTP and no templates."""

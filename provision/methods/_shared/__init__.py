"""Resources and checks that several methods share."""

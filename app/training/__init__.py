"""The Train workspace: choosing, starting, watching and using trainings that run in processes of their own."""

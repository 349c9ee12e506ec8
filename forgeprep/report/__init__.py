"""What people look at: tables of counts and contact sheets."""

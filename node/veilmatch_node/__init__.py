"""What a department deploys: its data, its part in linkages and jobs, its store, its service."""

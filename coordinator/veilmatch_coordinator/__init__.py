"""What the coordinating office deploys: linkage, combination, jobs, its store, its services."""

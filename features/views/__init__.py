"""The feature views, one file each: a `FeatureView` named `view` and its pure `aggregate(events, spine)`."""

"""The packed online store: one Redis key an entity, its views packed in it; neither reading nor writing needs Feast."""
